output "emails" {
  description = "Addresses of the accounts by what they do: runtime, deployment, training, tracking."
  value       = { for key, account in google_service_account.this : key => account.email }
}

output "members" {
  description = "The same as members of IAM policies."
  value       = { for key, account in google_service_account.this : key => account.member }
}

output "identity_provider" {
  description = "What google-github-actions/auth calls workload_identity_provider."
  value       = google_iam_workload_identity_pool_provider.github.name
}
