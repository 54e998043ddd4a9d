variable "project" {
  description = "Project of the tracking server."
  type        = string
}

variable "region" {
  description = "Region of the database."
  type        = string
}

variable "zone" {
  description = "Zone of the machine."
  type        = string
}

variable "name" {
  description = "Name of the machine and of the database."
  type        = string
  default     = "mlflow"
}

variable "labels" {
  description = "Labels of everything that can have some."
  type        = map(string)
  default     = {}
}

variable "network" {
  description = "Id of the network."
  type        = string
}

variable "subnetwork" {
  description = "Id of the subnetwork."
  type        = string
}

variable "range" {
  description = "Addresses of the subnetwork, from which the services ask MLflow."
  type        = string
}

variable "services_connection" {
  description = "The network's connection to Google's services; the database waits for it."
  type        = string
}

variable "port" {
  description = "Port of MLflow."
  type        = number
  default     = 5000
}

variable "machine_type" {
  description = "Machine of the MLflow server."
  type        = string
  default     = "e2-small"
}

variable "database_tier" {
  description = "Size of the database."
  type        = string
  default     = "db-g1-small"
}

variable "database_availability" {
  description = "ZONAL, or REGIONAL for a standby in another zone."
  type        = string
  default     = "ZONAL"
  validation {
    condition     = contains(["ZONAL", "REGIONAL"], var.database_availability)
    error_message = "Give ZONAL or REGIONAL."
  }
}

variable "deletion_protection" {
  description = "Whether database and machine refuse to be deleted."
  type        = bool
  default     = true
}

variable "service_account_email" {
  description = "Account that the machine runs as."
  type        = string
}

variable "service_account_member" {
  description = "The same as a member of IAM policies."
  type        = string
}

variable "tunnel_users" {
  description = "Who may reach MLflow through Identity-Aware Proxy, as key = \"serviceAccount:…\"."
  type        = map(string)
  default     = {}
}

variable "operators" {
  description = "Who may besides read the database's password and reach ssh (OS Login decides there), as key = \"user:…\"."
  type        = map(string)
  default     = {}
}
