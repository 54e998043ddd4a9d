# Four accounts, each with what it does and no more. Nobody has a key: GitHub's workflows exchange the token of their job.
locals {
  accounts = {
    runtime    = "Runs the servers on Cloud Run"
    deployment = "Deploys releases, from GitHub"
    training   = "Trains, builds images and tries them out, from GitHub"
    tracking   = "Runs the MLflow server"
  }
  # What a role on the project is needed for; the rest is granted on single buckets, repositories and secrets.
  project_roles = {
    "runtime metrics"       = { account = "runtime", role = "roles/monitoring.metricWriter" }
    "runtime traces"        = { account = "runtime", role = "roles/cloudtrace.agent" }
    "deployment run"        = { account = "deployment", role = "roles/run.developer" }
    "deployment invoke"     = { account = "deployment", role = "roles/run.invoker" }
    "deployment monitoring" = { account = "deployment", role = "roles/monitoring.viewer" }
    "deployment logs"       = { account = "deployment", role = "roles/logging.viewer" }
    "training run"          = { account = "training", role = "roles/run.developer" }
    "training invoke"       = { account = "training", role = "roles/run.invoker" }
    "training logs"         = { account = "training", role = "roles/logging.viewer" }
    "tracking logs"         = { account = "tracking", role = "roles/logging.logWriter" }
    "tracking metrics"      = { account = "tracking", role = "roles/monitoring.metricWriter" }
  }
  from_github = toset(["deployment", "training"])
}

resource "google_service_account" "this" {
  for_each     = local.accounts
  project      = var.project
  account_id   = "${var.prefix}-${each.key}"
  display_name = each.value
}

resource "google_project_iam_member" "this" {
  for_each = local.project_roles
  project  = var.project
  role     = each.value.role
  member   = google_service_account.this[each.value.account].member
}

# Who deploys a service must be allowed to let it run as its account.
resource "google_service_account_iam_member" "acts_as_runtime" {
  for_each           = local.from_github
  service_account_id = google_service_account.this["runtime"].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.this[each.value].member
}

# To ask private services, a workflow makes identity tokens of its own account.
resource "google_service_account_iam_member" "identity_tokens" {
  for_each           = local.from_github
  service_account_id = google_service_account.this[each.value].name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = google_service_account.this[each.value].member
}

resource "google_iam_workload_identity_pool" "github" {
  project                   = var.project
  workload_identity_pool_id = "${var.prefix}-github"
  display_name              = "GitHub Actions"
}

resource "google_iam_workload_identity_pool_provider" "github" {
  project                            = var.project
  workload_identity_pool_id          = google_iam_workload_identity_pool.github.workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "Jobs of ${var.github_repository}"
  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
  }
  # Tokens of any other repository are refused before a role is looked at. The id cannot be taken over with a name.
  attribute_condition = join(" && ", concat(
    ["assertion.repository == '${var.github_repository}'"],
    var.github_repository_id == "" ? [] : ["assertion.repository_id == '${var.github_repository_id}'"]
  ))
  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

# Any job of the repository may train; deploying needs the environment, which people have to approve.
resource "google_service_account_iam_member" "training_from_github" {
  service_account_id = google_service_account.this["training"].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.github.name}/attribute.repository/${var.github_repository}"
}

resource "google_service_account_iam_member" "deployment_from_github" {
  service_account_id = google_service_account.this["deployment"].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/${google_iam_workload_identity_pool.github.name}/subject/repo:${var.github_repository}:environment:${var.github_environment}"
}
