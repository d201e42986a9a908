mkdir -p a/b/c/d; echo f > a/b/c/d/f; echo g > a/b/g
