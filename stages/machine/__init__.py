"""What a process needs of its machine: whole files, locks, memory, cores, versions, a W&B login."""
