output "names" {
  description = "Names of the buckets by their key."
  value       = { for key, bucket in google_storage_bucket.this : key => bucket.name }
}

output "urls" {
  description = "gs:// URLs of the buckets by their key."
  value       = { for key, bucket in google_storage_bucket.this : key => bucket.url }
}
