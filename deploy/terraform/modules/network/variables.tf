variable "project" {
  description = "Project of the network."
  type        = string
}

variable "region" {
  description = "Region of its subnetwork."
  type        = string
}

variable "name" {
  description = "Name of the network and of what belongs to it."
  type        = string
  default     = "flambeau"
}

variable "range" {
  description = "Addresses of the subnetwork."
  type        = string
  default     = "10.20.30.0/24"
  validation {
    condition     = can(cidrhost(var.range, 0))
    error_message = "Give a range such as 10.20.30.0/24."
  }
}
