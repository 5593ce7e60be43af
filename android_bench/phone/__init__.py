"""Android phones through adb."""
