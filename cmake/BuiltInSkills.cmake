# Writes built_in.cc: the folders of skills/ as data, so that the program needs no file of its own.
#   cmake -DSOURCE=skills -DOUT=built_in.cc -P cmake/BuiltInSkills.cmake
file(GLOB files ${SOURCE}/*/SKILL.md)
list(SORT files)
set(rows "")
foreach(file ${files})
  get_filename_component(dir ${file} DIRECTORY)
  get_filename_component(name ${dir} NAME)
  file(READ ${file} text)
  string(APPEND rows "    {\"${name}\", R\"claw-skill(${text})claw-skill\"},\n")
endforeach()
file(WRITE ${OUT} "#include \"skill/built_in.h\"\n\nnamespace claw::skill {\n\nconst std::vector<BuiltInFile>& built_in_files() {\n  static const std::vector<BuiltInFile> files = {\n${rows}  };\n  return files;\n}\n\n}  // namespace claw::skill\n")
