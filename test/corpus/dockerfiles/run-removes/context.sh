mkdir -p d/sub; echo 1 > d/one; echo 2 > d/sub/two; echo 3 > d/three
