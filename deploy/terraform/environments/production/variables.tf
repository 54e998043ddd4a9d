variable "project" {
  description = "Id of the project; it exists already and has a billing account."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "That is no id of a project."
  }
}

variable "region" {
  description = "Region of everything that has one."
  type        = string
  default     = "europe-west1"
}

variable "zone" {
  description = "Zone of the tracking server."
  type        = string
  default     = "europe-west1-b"
  validation {
    condition     = startswith(var.zone, "${var.region}-")
    error_message = "The zone must lie in the region."
  }
}

variable "name" {
  description = "What everything is named after; several can live in one project."
  type        = string
  default     = "flambeau"
}

variable "labels" {
  description = "Labels besides our own, for the bill."
  type        = map(string)
  default     = {}
}

variable "github_repository" {
  description = "OWNER/NAME of the repository whose workflows train and deploy."
  type        = string
}

variable "github_repository_id" {
  description = "Its number: gh api repos/OWNER/NAME --jq .id. Empty: only the name is checked."
  type        = string
  default     = ""
}

variable "github_environment" {
  description = "Environment of GitHub in which the jobs run that deploy."
  type        = string
  default     = "production"
}

variable "operators" {
  description = "People who look after the tracking server, as key = \"user:NAME@EXAMPLE.COM\"."
  type        = map(string)
  default     = {}
}

variable "services" {
  description = "Services of Cloud Run by name. Without an image a service is not made yet; later images come from releases."
  type = map(object({
    image           = optional(string, "")
    invokers        = optional(map(string), {})
    ingress         = optional(string, "INGRESS_TRAFFIC_ALL")
    cpu             = optional(string, "2")
    memory          = optional(string, "2Gi")
    concurrency     = optional(number, 32)
    timeout_seconds = optional(number, 120)
    min_instances   = optional(number, 0)
    max_instances   = optional(number, 4)
    cpu_always      = optional(bool, false)
    environment     = optional(map(string), {})
  }))
  default = { news = {} }
}

variable "metrics_sidecar" {
  description = "Whether services get a collector of their own metrics; each needs cpu_always then."
  type        = bool
  default     = false
}

variable "immutable_tags" {
  description = "Whether a tag can never come to mean another image; then keep_images concerns nothing, for images with a tag stay."
  type        = bool
  default     = true
}

variable "keep_images" {
  description = "How many versions of each image are kept whatever their age."
  type        = number
  default     = 20
}

variable "cleanup_dry_run" {
  description = "Whether images are only listed for deletion, not deleted."
  type        = bool
  default     = false
}

variable "network_range" {
  description = "Addresses of the network."
  type        = string
  default     = "10.20.30.0/24"
}

variable "tracking_machine_type" {
  description = "Machine of the MLflow server."
  type        = string
  default     = "e2-small"
}

variable "database_tier" {
  description = "Size of MLflow's database."
  type        = string
  default     = "db-g1-small"
}

variable "database_availability" {
  description = "ZONAL, or REGIONAL for a standby in another zone."
  type        = string
  default     = "ZONAL"
}

variable "github_tracking_uri" {
  description = "MLFLOW_TRACKING_URI of the workflows. The default is the end of a tunnel that the job opens."
  type        = string
  default     = "http://127.0.0.1:5000"
}

variable "alert_emails" {
  description = "Who is told by e-mail."
  type        = set(string)
  default     = []
}

variable "alert_channels" {
  description = "Ids of notification channels that exist already."
  type        = list(string)
  default     = []
}

variable "max_error_ratio" {
  description = "Part of the answers that may be 5xx before somebody is told."
  type        = number
  default     = 0.01
}

variable "max_p99_ms" {
  description = "What 99 % of the answers stay below, in milliseconds."
  type        = number
  default     = 500
}

variable "billing_account" {
  description = "Billing account for a budget. Empty: no budget."
  type        = string
  default     = ""
}

variable "monthly_budget" {
  description = "What a month may cost."
  type        = number
  default     = 200
}

variable "currency" {
  description = "Currency of the billing account."
  type        = string
  default     = "USD"
}

variable "deletion_protection" {
  description = "Whether services, machine and database refuse to be deleted."
  type        = bool
  default     = true
}

variable "force_destroy" {
  description = "Whether destroying deletes buckets that hold something."
  type        = bool
  default     = false
}
