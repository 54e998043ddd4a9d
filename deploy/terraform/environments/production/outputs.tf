output "github_variables" {
  description = "Variables of the repository that the workflows read; README.md says how they get there."
  value = {
    FLAMBEAU_PLATFORM      = "cloud-run"
    GCP_PROJECT            = var.project
    GCP_REGION             = var.region
    GCP_REGISTRY           = module.registry.url
    GCP_IDENTITY_PROVIDER  = module.identity.identity_provider
    GCP_RUNTIME_ACCOUNT    = module.identity.emails["runtime"]
    GCP_TRAINING_ACCOUNT   = module.identity.emails["training"]
    GCP_DEPLOYMENT_ACCOUNT = module.identity.emails["deployment"]
    GCP_TRACKING_INSTANCE  = module.tracking.instance
    GCP_TRACKING_ZONE      = var.zone
    MLFLOW_TRACKING_URI    = var.github_tracking_uri
    SERVICE                = sort(keys(var.services))[0]
  }
}

output "ansible_inventory" {
  description = "Inventory of deploy/ansible."
  value = templatefile("${path.module}/inventory.yml.tftpl", {
    project         = var.project
    zone            = var.zone
    instance        = module.tracking.instance
    address         = module.tracking.address
    database        = module.tracking.database_address
    password_secret = module.tracking.password_secret
    artifacts       = "${module.storage.urls["artifacts"]}/mlflow"
  })
}

output "tracking_uri" {
  description = "MLFLOW_TRACKING_URI inside the network."
  value       = module.tracking.uri
}

output "buckets" {
  description = "Buckets: data for training, artifacts of MLflow."
  value       = module.storage.urls
}

output "service_urls" {
  description = "URLs of the services."
  value       = { for name, service in module.serving : name => service.uri }
}

output "budget" {
  description = "Name of the budget, if there is one."
  value       = one(module.budget[*].name)
}
