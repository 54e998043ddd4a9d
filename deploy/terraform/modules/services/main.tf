# Switched on and never off: other things in the project may use them.
resource "google_project_service" "this" {
  for_each           = var.services
  project            = var.project
  service            = each.value
  disable_on_destroy = false
}
