variable "project" {
  description = "Project of the repository."
  type        = string
}

variable "region" {
  description = "Where images lie; that of the services that run them, or every start pays for the way."
  type        = string
}

variable "name" {
  description = "Name of the repository."
  type        = string
  default     = "flambeau"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,62}$", var.name))
    error_message = "A name has small letters, digits and hyphens, and begins with a letter."
  }
}

variable "labels" {
  description = "Labels of the repository."
  type        = map(string)
  default     = {}
}

variable "keep_versions" {
  description = "How many of the newest versions of each image are kept whatever their age: as many as you may want to roll back to."
  type        = number
  default     = 20
  validation {
    condition     = var.keep_versions >= 2
    error_message = "Without a second version there is nothing to roll back to."
  }
}

variable "untagged_days" {
  description = "After how many days an image without a tag goes."
  type        = number
  default     = 7
}

variable "old_days" {
  description = "After how many days any image that is not among keep_versions goes."
  type        = number
  default     = 90
}

variable "immutable_tags" {
  description = "Whether a tag can never come to mean another image. While it is so, images with a tag are not deleted either, whatever their age."
  type        = bool
  default     = true
}

variable "cleanup_dry_run" {
  description = "Whether the policies only say in the audit log what they would delete."
  type        = bool
  default     = false
}

variable "readers" {
  description = "Who pulls images, as key = \"serviceAccount:…\"."
  type        = map(string)
  default     = {}
}

variable "writers" {
  description = "Who pushes images, as key = \"serviceAccount:…\"."
  type        = map(string)
  default     = {}
}
