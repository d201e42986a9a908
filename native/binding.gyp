{
  # Every .cc file in src/ belongs to the addon, so that a new kernel subject needs no line here;
  # its registration is one line in src/addon.cc. -Wrestrict is off: GCC 12 warns falsely of string + string.
  "targets": [
    {
      "target_name": "covey",
      "sources": [
        "<!@(node -p \"require('node:fs').readdirSync('src').filter((f) => f.endsWith('.cc')).sort().map((f) => 'src/' + f).join(' ')\")"
      ],
      "include_dirs": ["<!@(node -p \"require('node-addon-api').include\")", "src"],
      "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_DISABLE_DEPRECATED"],
      "cflags!": ["-fno-exceptions"],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++14"],
      "cflags_cc": [
        "-std=c++20",
        "-fexceptions",
        "-frtti",
        "-fvisibility=hidden",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-missing-field-initializers",
        "-Wno-restrict",
        "-Wno-cast-function-type"
      ],
      "libraries": ["-lseccomp", "-lnettle", "-lzstd"],
      "ldflags": ["-Wl,-z,relro,-z,now"]
    }
  ]
}
