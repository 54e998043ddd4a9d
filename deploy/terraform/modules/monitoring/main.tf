resource "google_monitoring_notification_channel" "email" {
  for_each     = var.emails
  project      = var.project
  display_name = "Flambeau: ${each.value}"
  type         = "email"
  labels = {
    email_address = each.value
  }
}

locals {
  channels = concat([for channel in google_monitoring_notification_channel.email : channel.id], var.notification_channels)
  # host of https://HOST
  hosts = { for name, uri in var.services : name => trimprefix(uri, "https://") }
}

# Asks as a client would, from several continents, with an identity that may invoke the service.
resource "google_monitoring_uptime_check_config" "ready" {
  for_each     = local.hosts
  project      = var.project
  display_name = "${each.key} is ready"
  period       = "60s"
  timeout      = "10s"

  http_check {
    path         = "/v2/health/ready"
    port         = 443
    use_ssl      = true
    validate_ssl = true
    service_agent_authentication {
      type = "OIDC_TOKEN"
    }
  }
  monitored_resource {
    type = "uptime_url"
    labels = {
      project_id = var.project
      host       = each.value
    }
  }
}

resource "google_cloud_run_v2_service_iam_member" "uptime" {
  for_each = local.hosts
  project  = var.project
  location = var.region
  name     = each.key
  role     = "roles/run.invoker"
  member   = "serviceAccount:service-${var.project_number}@gcp-sa-monitoring-notification.iam.gserviceaccount.com"
}

resource "google_monitoring_alert_policy" "not_ready" {
  for_each              = google_monitoring_uptime_check_config.ready
  project               = var.project
  display_name          = "${each.key}: no instance is ready"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = local.channels
  conditions {
    display_name = "Two places or more find it not ready"
    condition_threshold {
      filter          = "metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\" AND resource.type=\"uptime_url\" AND metric.labels.check_id=\"${each.value.uptime_check_id}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "120s"
      aggregations {
        alignment_period     = "120s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.label.host"]
      }
    }
  }
  documentation {
    mime_type = "text/markdown"
    content   = "See docs/operating.md, FlambeauDown."
  }
}

resource "google_monitoring_alert_policy" "errors" {
  for_each              = var.services
  project               = var.project
  display_name          = "${each.key}: too many errors"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  conditions {
    display_name = "More than ${var.max_error_ratio * 100} % of the answers are 5xx"
    condition_threshold {
      filter             = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${each.key}\" AND metric.labels.response_code_class=\"5xx\""
      denominator_filter = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${each.key}\""
      comparison         = "COMPARISON_GT"
      threshold_value    = var.max_error_ratio
      duration           = "300s"
      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_RATE"
        cross_series_reducer = "REDUCE_SUM"
      }
      denominator_aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_RATE"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }
  documentation {
    mime_type = "text/markdown"
    content   = "See docs/operating.md, FlambeauErrorBudgetBurnFast."
  }
}

resource "google_monitoring_alert_policy" "latency" {
  for_each              = var.services
  project               = var.project
  display_name          = "${each.key}: slow"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.channels
  conditions {
    display_name = "1 % of the answers take longer than ${var.max_p99_ms} ms"
    condition_threshold {
      filter          = "metric.type=\"run.googleapis.com/request_latencies\" AND resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${each.key}\""
      comparison      = "COMPARISON_GT"
      threshold_value = var.max_p99_ms
      duration        = "600s"
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_PERCENTILE_99"
      }
    }
  }
  documentation {
    mime_type = "text/markdown"
    content   = "See docs/operating.md, FlambeauLatencyHigh."
  }
}

# What only the server itself knows; with the sidecar of the serving module.
locals {
  own_metrics = var.own_metrics ? {
    FlambeauModelNotReady    = "sum by (model_name, model_version) (flambeau_workers{state=~\"ready|busy\"}) == 0 and on (model_name, model_version) max by (model_name, model_version) (flambeau_traffic_weight_ratio) > 0"
    FlambeauQueueFull        = "sum by (model_name) (rate(flambeau_rejections_total{reason=\"queue_full\"}[5m])) > 0"
    FlambeauModelLoadFailing = "increase(flambeau_model_load_failures_total[15m]) > 0"
    FlambeauFollowerFailing  = "flambeau_follow_failing > 0"
  } : {}
}

resource "google_monitoring_alert_policy" "own" {
  for_each              = local.own_metrics
  project               = var.project
  display_name          = each.key
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  conditions {
    display_name = each.key
    condition_prometheus_query_language {
      query               = each.value
      duration            = "300s"
      evaluation_interval = "60s"
    }
  }
  documentation {
    mime_type = "text/markdown"
    content   = "See docs/operating.md, ${each.key}."
  }
}

# The check runs on the machine every minute (deploy/ansible, role mlflow) and says so in its log; silence is the alarm.
resource "google_logging_metric" "mlflow" {
  project     = var.project
  name        = "flambeau/mlflow_healthy"
  description = "Once a minute while MLflow answers."
  filter      = "logName=\"projects/${var.project}/logs/mlflow-health\" AND textPayload=\"OK\""
  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }
}

resource "google_monitoring_alert_policy" "mlflow" {
  project               = var.project
  display_name          = "MLflow is down"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels
  conditions {
    display_name = "It has not answered for 5 minutes"
    condition_absent {
      filter   = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.mlflow.name}\" AND resource.type=\"global\""
      duration = "300s"
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_SUM"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }
  documentation {
    mime_type = "text/markdown"
    content   = "Trainings fail and aliases cannot be followed; what is served goes on being served. `systemctl status mlflow` on the machine."
  }
}
