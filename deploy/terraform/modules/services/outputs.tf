output "enabled" {
  description = "The services that are on; name it in depends_on."
  value       = [for service in google_project_service.this : service.service]
}
