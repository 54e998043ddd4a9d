resource "google_storage_bucket" "this" {
  for_each                    = var.buckets
  project                     = var.project
  name                        = "${var.prefix}-${each.key}"
  location                    = var.region
  labels                      = var.labels
  force_destroy               = var.force_destroy
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  # A version that was overwritten or deleted can be brought back for so long.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = each.value.undelete_days
      with_state                 = "ARCHIVED"
    }
  }
  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }
}

locals {
  members = merge([for bucket, settings in var.buckets : {
    for key, one in settings.members : "${bucket} ${key}" => { bucket = bucket, role = one.role, member = one.member }
  }]...)
}

resource "google_storage_bucket_iam_member" "this" {
  for_each = local.members
  bucket   = google_storage_bucket.this[each.value.bucket].name
  role     = each.value.role
  member   = each.value.member
}
