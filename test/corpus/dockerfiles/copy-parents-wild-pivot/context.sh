mkdir -p a/b/c/d/e a/b2/c/d/e a/b3; echo y > a/b/c/d/e/bay; echo r > a/b2/c/d/e/bar; echo n > a/b2/c/no
