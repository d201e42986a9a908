mkdir -p x/y; echo a > x/y/a.txt; echo b > x/y/b.txt; echo c > x/y/c.md
