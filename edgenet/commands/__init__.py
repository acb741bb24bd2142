"""The commands of `edgenet`, one file each."""
