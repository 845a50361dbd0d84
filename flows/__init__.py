"""What happens: one flow a module, each readable in one screen."""
