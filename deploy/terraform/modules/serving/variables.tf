variable "project" {
  description = "Project of the service."
  type        = string
}

variable "region" {
  description = "Region of the service."
  type        = string
}

variable "name" {
  description = "Name of the service."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,47}[a-z0-9]$", var.name))
    error_message = "Up to 49 small letters, digits and hyphens, beginning with a letter."
  }
}

variable "image" {
  description = "Image that the service begins with; later ones come from releases."
  type        = string
}

variable "service_account_email" {
  description = "Account that revisions run as."
  type        = string
}

variable "invokers" {
  description = "Who may ask the service, as key = \"serviceAccount:…\". Nobody else can: { everybody = \"allUsers\" } opens it."
  type        = map(string)
  default     = {}
}

variable "ingress" {
  description = "Where requests may come from."
  type        = string
  default     = "INGRESS_TRAFFIC_ALL"
  validation {
    condition = contains(
      ["INGRESS_TRAFFIC_ALL", "INGRESS_TRAFFIC_INTERNAL_ONLY", "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"], var.ingress
    )
    error_message = "Give INGRESS_TRAFFIC_ALL, INGRESS_TRAFFIC_INTERNAL_ONLY or INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER."
  }
}

variable "labels" {
  description = "Labels of the service and its revisions."
  type        = map(string)
  default     = {}
}

variable "cpu" {
  description = "CPUs of an instance: 1, 2, 4 or 8."
  type        = string
  default     = "2"
  validation {
    condition     = contains(["1", "2", "4", "8"], var.cpu)
    error_message = "Give 1, 2, 4 or 8."
  }
}

variable "memory" {
  description = "Memory of an instance; files that it writes count."
  type        = string
  default     = "2Gi"
}

variable "concurrency" {
  description = "Requests of an instance at a time; more bring another instance. Near batch size times workers, and some to wait."
  type        = number
  default     = 32
  validation {
    condition     = var.concurrency >= 1 && var.concurrency <= 1000
    error_message = "Between 1 and 1000."
  }
}

variable "timeout_seconds" {
  description = "How long a request may take."
  type        = number
  default     = 120
}

variable "min_instances" {
  description = "Instances that stay without requests. 0: none, and the first request after a pause waits for a start."
  type        = number
  default     = 0
}

variable "max_instances" {
  description = "More are not started, whatever comes."
  type        = number
  default     = 4
}

variable "cpu_always" {
  description = "CPU also between requests; paid for the whole life of an instance."
  type        = bool
  default     = false
}

variable "environment" {
  description = "Environment variables, FLAMBEAU_… settings among them."
  type        = map(string)
  default     = {}
}

variable "subnetwork" {
  description = "Subnetwork from which private addresses such as MLflow's are reached. Empty: none."
  type        = string
  default     = ""
}

variable "metrics_sidecar" {
  description = "Whether a collector sends the server's own metrics to Managed Service for Prometheus."
  type        = bool
  default     = false
}

variable "metrics_sidecar_image" {
  description = "Image of the collector."
  type        = string
  default     = "us-docker.pkg.dev/cloud-ops-agents-artifacts/cloud-run-gmp-sidecar/cloud-run-gmp-sidecar:1.2.0"
}

variable "deletion_protection" {
  description = "Whether the service refuses to be deleted."
  type        = bool
  default     = true
}
