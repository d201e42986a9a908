mkdir -p a/b/c/d a/b2/c a/b3/x; echo f > a/b/c/d/f; echo g > a/b2/c/g; echo h > a/b2/h
