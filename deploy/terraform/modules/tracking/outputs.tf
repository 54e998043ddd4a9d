output "address" {
  description = "Private address of the MLflow server."
  value       = google_compute_instance.this.network_interface[0].network_ip
}

output "uri" {
  description = "MLFLOW_TRACKING_URI inside the network."
  value       = "http://${google_compute_instance.this.network_interface[0].network_ip}:${var.port}"
}

output "instance" {
  description = "Name of the machine, for ssh and tunnels."
  value       = google_compute_instance.this.name
}

output "database_address" {
  description = "Private address of the database."
  value       = google_sql_database_instance.this.private_ip_address
}

output "password_secret" {
  description = "Secret with the database's password."
  value       = google_secret_manager_secret.password.secret_id
}
