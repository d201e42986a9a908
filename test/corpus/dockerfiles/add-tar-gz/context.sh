echo f > f; tar --owner=0 --group=0 -czf packed f; rm f
