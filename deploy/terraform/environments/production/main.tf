locals {
  labels = merge({ app = "flambeau", managed-by = "terraform" }, var.labels)
  # Before the first training there is no image, and so no service.
  services = { for name, service in var.services : name => service if service.image != "" }
  # A service in the network asks MLflow at its private address.
  own_environment = { MLFLOW_TRACKING_URI = module.tracking.uri }
}

data "google_project" "this" {
  project_id = var.project
  depends_on = [module.services]
}

module "services" {
  source  = "../../modules/services"
  project = var.project
}

module "identity" {
  source               = "../../modules/identity"
  project              = var.project
  prefix               = var.name
  github_repository    = var.github_repository
  github_repository_id = var.github_repository_id
  github_environment   = var.github_environment
  depends_on           = [module.services]
}

module "registry" {
  source          = "../../modules/registry"
  project         = var.project
  region          = var.region
  name            = var.name
  labels          = local.labels
  immutable_tags  = var.immutable_tags
  keep_versions   = var.keep_images
  cleanup_dry_run = var.cleanup_dry_run
  readers         = { deployment = module.identity.members["deployment"] }
  writers         = { training = module.identity.members["training"] }
  depends_on      = [module.services]
}

module "storage" {
  source        = "../../modules/storage"
  project       = var.project
  region        = var.region
  prefix        = "${var.project}-${var.name}"
  labels        = local.labels
  force_destroy = var.force_destroy
  buckets = {
    data = {
      members = {
        training = { role = "roles/storage.objectViewer", member = module.identity.members["training"] }
      }
    }
    artifacts = {
      members = {
        tracking = { role = "roles/storage.objectUser", member = module.identity.members["tracking"] }
        runtime  = { role = "roles/storage.objectViewer", member = module.identity.members["runtime"] }
      }
    }
  }
  depends_on = [module.services]
}

module "network" {
  source     = "../../modules/network"
  project    = var.project
  region     = var.region
  name       = var.name
  range      = var.network_range
  depends_on = [module.services]
}

module "tracking" {
  source                 = "../../modules/tracking"
  project                = var.project
  region                 = var.region
  zone                   = var.zone
  name                   = "${var.name}-mlflow"
  labels                 = local.labels
  network                = module.network.network
  subnetwork             = module.network.subnetwork
  range                  = var.network_range
  services_connection    = module.network.services_connection
  machine_type           = var.tracking_machine_type
  database_tier          = var.database_tier
  database_availability  = var.database_availability
  deletion_protection    = var.deletion_protection
  service_account_email  = module.identity.emails["tracking"]
  service_account_member = module.identity.members["tracking"]
  tunnel_users = {
    training   = module.identity.members["training"]
    deployment = module.identity.members["deployment"]
  }
  operators = var.operators
}

module "serving" {
  for_each              = local.services
  source                = "../../modules/serving"
  project               = var.project
  region                = var.region
  name                  = each.key
  image                 = each.value.image
  service_account_email = module.identity.emails["runtime"]
  invokers              = each.value.invokers
  ingress               = each.value.ingress
  labels                = local.labels
  cpu                   = each.value.cpu
  memory                = each.value.memory
  concurrency           = each.value.concurrency
  timeout_seconds       = each.value.timeout_seconds
  min_instances         = each.value.min_instances
  max_instances         = each.value.max_instances
  cpu_always            = each.value.cpu_always
  environment           = merge(local.own_environment, each.value.environment)
  subnetwork            = module.network.subnetwork
  metrics_sidecar       = var.metrics_sidecar
  deletion_protection   = var.deletion_protection
  depends_on            = [module.registry]
}

module "monitoring" {
  source                = "../../modules/monitoring"
  project               = var.project
  project_number        = data.google_project.this.number
  region                = var.region
  services              = { for name, service in module.serving : name => service.uri }
  emails                = var.alert_emails
  notification_channels = var.alert_channels
  max_error_ratio       = var.max_error_ratio
  max_p99_ms            = var.max_p99_ms
  own_metrics           = var.metrics_sidecar
}

module "budget" {
  count                 = var.billing_account == "" ? 0 : 1
  source                = "../../modules/budget"
  billing_account       = var.billing_account
  project_number        = data.google_project.this.number
  amount                = var.monthly_budget
  currency              = var.currency
  notification_channels = module.monitoring.notification_channels
}
