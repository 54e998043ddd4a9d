variable "project" {
  description = "Project of the alerts."
  type        = string
}

variable "project_number" {
  description = "Its number: Cloud Monitoring asks private services as an account that has it in its name."
  type        = string
}

variable "region" {
  description = "Region of the services."
  type        = string
}

variable "services" {
  description = "URLs of the services by their name."
  type        = map(string)
}

variable "emails" {
  description = "Who is told."
  type        = set(string)
  default     = []
}

variable "notification_channels" {
  description = "Ids of channels that exist already, such as a pager."
  type        = list(string)
  default     = []
}

variable "max_error_ratio" {
  description = "Part of the answers that may be 5xx."
  type        = number
  default     = 0.01
  validation {
    condition     = var.max_error_ratio > 0 && var.max_error_ratio < 1
    error_message = "Between 0 and 1."
  }
}

variable "max_p99_ms" {
  description = "What 99 % of the answers stay below."
  type        = number
  default     = 500
}

variable "own_metrics" {
  description = "Whether the services have the metrics sidecar."
  type        = bool
  default     = false
}
