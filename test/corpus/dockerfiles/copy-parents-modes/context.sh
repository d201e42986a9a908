mkdir -p d/e g/i; echo f > d/e/f; echo h > g/i/h; chmod 700 d; chmod 750 d/e; chmod 711 g; chmod 1777 g/i
