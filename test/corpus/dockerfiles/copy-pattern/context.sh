echo 1 > f1.txt; echo 2 > f2.txt; echo 3 > g3; echo 4 > g44; echo 5 > f.go
