variable "billing_account" {
  description = "Id of the billing account, 0X0X0X-0X0X0X-0X0X0X."
  type        = string
}

variable "project_number" {
  description = "Number of the project whose costs are counted."
  type        = string
}

variable "amount" {
  description = "What a month may cost. A budget warns, it stops nothing."
  type        = number
}

variable "currency" {
  description = "Currency of the billing account."
  type        = string
  default     = "USD"
}

variable "notification_channels" {
  description = "Who is told at 50, 90 and 100 %; five at most."
  type        = list(string)
  default     = []
}
