variable "project" {
  description = "Project of the buckets."
  type        = string
}

variable "region" {
  description = "Where they lie."
  type        = string
}

variable "prefix" {
  description = "Names of buckets are unique in the world: PREFIX-KEY."
  type        = string
}

variable "labels" {
  description = "Labels of the buckets."
  type        = map(string)
  default     = {}
}

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes buckets that hold something."
  type        = bool
  default     = false
}

variable "buckets" {
  description = "Buckets by the end of their name, with who may do what there."
  type = map(object({
    undelete_days = optional(number, 30)
    members       = optional(map(object({ role = string, member = string })), {})
  }))
}
