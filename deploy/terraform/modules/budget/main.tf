resource "google_billing_budget" "this" {
  billing_account = var.billing_account
  display_name    = "Flambeau in ${var.project_number}"

  budget_filter {
    projects = ["projects/${var.project_number}"]
  }
  amount {
    specified_amount {
      currency_code = var.currency
      units         = tostring(var.amount)
    }
  }
  dynamic "threshold_rules" {
    for_each = toset(["0.5", "0.9", "1.0"])
    content {
      threshold_percent = tonumber(threshold_rules.value)
    }
  }
  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }
  all_updates_rule {
    monitoring_notification_channels = var.notification_channels
    disable_default_iam_recipients   = false
  }
}
