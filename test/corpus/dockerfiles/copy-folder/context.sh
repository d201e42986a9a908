mkdir -p d/sub; echo 1 > d/one; echo 2 > d/sub/two; chmod 700 d; chmod 750 d/sub; chmod 600 d/one; chmod 755 d
