# A service of Cloud Run. Terraform says what a revision needs; which image it runs and who gets the requests is decided by
# releases (deploy/steps), so changes of those are ignored here.
resource "google_cloud_run_v2_service" "this" {
  project             = var.project
  location            = var.region
  name                = var.name
  labels              = var.labels
  ingress             = var.ingress
  deletion_protection = var.deletion_protection

  template {
    service_account                  = var.service_account_email
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    timeout                          = "${var.timeout_seconds}s"
    max_instance_request_concurrency = var.concurrency
    labels                           = var.labels

    scaling {
      min_instance_count = var.min_instances
      max_instance_count = var.max_instances
    }

    dynamic "vpc_access" {
      for_each = var.subnetwork == "" ? [] : [var.subnetwork]
      content {
        egress = "PRIVATE_RANGES_ONLY"
        network_interfaces {
          subnetwork = vpc_access.value
        }
      }
    }

    containers {
      name  = "flambeau"
      image = var.image

      ports {
        name           = "http1"
        container_port = 8080
      }
      resources {
        limits = {
          cpu    = var.cpu
          memory = var.memory
        }
        # false: CPU also between requests, which following a registry, exporting traces and the sidecar need.
        cpu_idle          = !var.cpu_always
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = merge(
          {
            FLAMBEAU_GRACE = "8" # ten seconds after SIGTERM the instance is killed
          },
          var.metrics_sidecar ? { FLAMBEAU_SINGLE_PORT = "true" } : {}, # the sidecar reads port 8080
          var.environment
        )
        content {
          name  = env.key
          value = env.value
        }
      }

      # Ready: the model is loaded and was tried. Only then requests come.
      startup_probe {
        period_seconds    = 1
        timeout_seconds   = 1
        failure_threshold = 240
        http_get {
          path = "/v2/health/ready"
        }
      }
      liveness_probe {
        period_seconds    = 10
        timeout_seconds   = 3
        failure_threshold = 3
        http_get {
          path = "/v2/health/live"
        }
      }
    }

    dynamic "containers" {
      for_each = var.metrics_sidecar ? [var.metrics_sidecar_image] : []
      content {
        name       = "collector"
        image      = containers.value
        depends_on = ["flambeau"]
        resources {
          limits = {
            cpu    = "0.25"
            memory = "256Mi"
          }
          cpu_idle = !var.cpu_always
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [
      client,
      client_version,
      template[0].containers[0].image,
      template[0].revision,
      template[0].labels,
      traffic,
    ]
    precondition {
      condition     = !var.metrics_sidecar || var.cpu_always
      error_message = "metrics_sidecar needs cpu_always: without CPU between requests it misses its times."
    }
  }
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = var.invokers
  project  = var.project
  location = google_cloud_run_v2_service.this.location
  name     = google_cloud_run_v2_service.this.name
  role     = "roles/run.invoker"
  member   = each.value
}
