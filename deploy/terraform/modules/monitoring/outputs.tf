output "notification_channels" {
  description = "Channels that alerts go to."
  value       = local.channels
}
