"""The queue says "look there": RabbitMQ or one SQLite file, behind one protocol."""
