//! Files to YAML nodes with spans (Ansible's scalar rules) to diagnostics.
