mkdir -p d/sub; echo c > d/a.c; echo o > d/a.o; echo x > d/sub/x; echo z > d/sub/z
