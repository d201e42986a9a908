echo a > a.md; echo b > README.md; mkdir -p d/e; echo c > d/c; echo e > d/e/keep; echo f > d/e/go; echo g > Makefile; printf '**/go\n**/keep\n/.dockerignore\n' > .dockerignore
