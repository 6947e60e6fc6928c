"""What every request passes, in the order that app.py gives."""
