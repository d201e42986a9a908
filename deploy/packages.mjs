// The Debian packages that Covey needs, and why. Plain Node: read before anything is installed.

/** To build and to run. */
export const RUNTIME_PACKAGES = [
  'etcd-server', // the embedded etcd
  'g++', // the native addon
  'make', // node-gyp
  'python3', // node-gyp
  'musl-tools', // the static shim
  'nlohmann-json3-dev', // OCI config in the addon
  'libseccomp-dev', // system call filters in the addon
  'nettle-dev', // digests in the addon
  'libzstd-dev', // layers packed with it, in the addon
  'libnftables-dev', // load balancing rules in process
  'iproute2', // hosts as network namespaces
  'nftables',
  'zstd', // archives and layers packed with it, where there is no addon
  'isal', // igzip: layers packed with gzip, twice as fast
  'bzip2', // archives that ADD unpacks
  'xz-utils',
  'util-linux', // setpriv, nsenter, unshare
];

/** To run every test and check. */
export const TEST_PACKAGES = [
  'etcd-client',
  'clang-format',
  'clang-tidy',
  'crun',
  'runc',
  'curl',
  'docker-registry', // images are pulled from
  'skopeo', // and pushed by
  'buildah', // images made by others
  'umoci',
  'openssl', // a registry's certificate
  'e2fsprogs', // a disk that hangs
  'libclang-rt-14-dev',
  'clang',
  'busybox-static', // a shell in containers
];
