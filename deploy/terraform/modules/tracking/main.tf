# MLflow on a machine without a public address, its data in Cloud SQL and a bucket. deploy/ansible installs it. It is reached
# from the network of the services, and through Identity-Aware Proxy by who may use its tunnels: no port is open to the world.
resource "google_sql_database_instance" "this" {
  project             = var.project
  name                = var.name
  region              = var.region
  database_version    = "POSTGRES_15"
  deletion_protection = var.deletion_protection
  # A reference to it, so that the address is there before the database asks for one.
  depends_on = [terraform_data.connection]

  settings {
    tier                        = var.database_tier
    edition                     = "ENTERPRISE"
    availability_type           = var.database_availability
    disk_autoresize             = true
    deletion_protection_enabled = var.deletion_protection
    user_labels                 = var.labels

    ip_configuration {
      ipv4_enabled    = false
      private_network = var.network
      ssl_mode        = "ENCRYPTED_ONLY"
    }
    backup_configuration {
      enabled                        = true
      start_time                     = "04:30"
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7
      backup_retention_settings {
        retained_backups = 14
      }
    }
    maintenance_window {
      day          = 7
      hour         = 5
      update_track = "stable"
    }
    insights_config {
      query_insights_enabled = true
    }
  }
}

resource "terraform_data" "connection" {
  input = var.services_connection
}

resource "google_sql_database" "this" {
  project  = var.project
  instance = google_sql_database_instance.this.name
  name     = "mlflow"
}

# It is in the state too: keep the bucket of the state from everybody who may not know it.
resource "random_password" "this" {
  length  = 32
  special = false
}

resource "google_sql_user" "this" {
  project  = var.project
  instance = google_sql_database_instance.this.name
  name     = "mlflow"
  password = random_password.this.result
  # Objects that it owns go with the database.
  deletion_policy = "ABANDON"
}

resource "google_secret_manager_secret" "password" {
  project   = var.project
  secret_id = "${var.name}-database-password"
  labels    = var.labels
  replication {
    auto {}
  }
}

resource "google_secret_manager_secret_version" "password" {
  secret      = google_secret_manager_secret.password.id
  secret_data = random_password.this.result
}

resource "google_secret_manager_secret_iam_member" "password" {
  for_each  = merge({ tracking = var.service_account_member }, var.operators)
  project   = var.project
  secret_id = google_secret_manager_secret.password.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = each.value
}

resource "google_compute_instance" "this" {
  project                   = var.project
  name                      = var.name
  zone                      = var.zone
  machine_type              = var.machine_type
  deletion_protection       = var.deletion_protection
  allow_stopping_for_update = true
  labels                    = var.labels
  tags                      = [var.name]

  boot_disk {
    initialize_params {
      image = "debian-cloud/debian-12"
      size  = 20
      type  = "pd-balanced"
    }
  }
  network_interface {
    subnetwork = var.subnetwork
  }
  service_account {
    email  = var.service_account_email
    scopes = ["cloud-platform"]
  }
  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }
  metadata = {
    enable-oslogin         = "TRUE"
    block-project-ssh-keys = "TRUE"
  }
  lifecycle {
    # A newer image of Debian is no reason to make the machine anew.
    ignore_changes = [boot_disk[0].initialize_params[0].image]
  }
}

locals {
  identity_aware_proxy = "35.235.240.0/20"
}

resource "google_compute_firewall" "tunnels" {
  project       = var.project
  name          = "${var.name}-tunnels"
  network       = var.network
  direction     = "INGRESS"
  source_ranges = [local.identity_aware_proxy]
  target_tags   = [var.name]
  allow {
    protocol = "tcp"
    ports    = ["22", tostring(var.port)]
  }
}

resource "google_compute_firewall" "services" {
  project       = var.project
  name          = "${var.name}-services"
  network       = var.network
  direction     = "INGRESS"
  source_ranges = [var.range]
  target_tags   = [var.name]
  allow {
    protocol = "tcp"
    ports    = [tostring(var.port)]
  }
}

resource "google_iap_tunnel_instance_iam_member" "this" {
  for_each = merge(var.tunnel_users, var.operators)
  project  = var.project
  zone     = var.zone
  instance = google_compute_instance.this.name
  role     = "roles/iap.tunnelResourceAccessor"
  member   = each.value
}
