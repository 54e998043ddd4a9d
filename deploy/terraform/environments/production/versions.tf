terraform {
  required_version = ">= 1.9"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.6"
    }
  }
  # terraform init -backend-config=bucket=NAME-OF-A-BUCKET -backend-config=prefix=flambeau/production
  backend "gcs" {}
}

provider "google" {
  project = var.project
  region  = var.region
  # Budgets are counted against a project even where they do not belong to one.
  billing_project       = var.project
  user_project_override = true
}
