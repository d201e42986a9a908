mkdir -m 750 t; echo f > t/f; chmod 640 t/f; chown -R 3:4 t; tar -cf t.tar t; rm -r t
