variable "project" {
  description = "Project of the accounts."
  type        = string
}

variable "prefix" {
  description = "Names of the accounts begin with it."
  type        = string
  default     = "flambeau"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,17}[a-z0-9]$", var.prefix))
    error_message = "3 to 19 small letters, digits and hyphens: a name of an account has 30 at most."
  }
}

variable "github_repository" {
  description = "OWNER/NAME of the repository whose workflows train and deploy."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "Give it as OWNER/NAME."
  }
}

variable "github_repository_id" {
  description = "Its number (gh api repos/OWNER/NAME --jq .id): keeps out somebody who takes over a name that was given up. Empty: not checked."
  type        = string
  default     = ""
}

variable "github_environment" {
  description = "Environment of GitHub in which the jobs run that deploy."
  type        = string
  default     = "production"
}
