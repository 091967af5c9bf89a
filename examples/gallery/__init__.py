"""The gallery: its scripts run and timed, its pictures, its captions' numbers, its page."""
