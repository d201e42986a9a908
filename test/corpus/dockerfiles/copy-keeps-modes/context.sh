echo a > a; echo b > b; echo c > c; chmod 755 a; chown 7:8 a; chmod 4711 b; chmod 0 c
