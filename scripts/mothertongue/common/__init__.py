"""What every step needs: errors, files, progress, arguments, machines, languages."""
