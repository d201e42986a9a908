mkdir -p a/b empty; echo 0 > top.txt; echo 1 > a/one.txt; echo 2 > a/b/two.txt; echo 3 > a/b/three.md
