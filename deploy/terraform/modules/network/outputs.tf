output "network" {
  description = "Id of the network."
  value       = google_compute_network.this.id
}

output "subnetwork" {
  description = "Id of the subnetwork."
  value       = google_compute_subnetwork.this.id
}

output "services_connection" {
  description = "A database with a private address depends on it."
  value       = google_service_networking_connection.this.id
}
