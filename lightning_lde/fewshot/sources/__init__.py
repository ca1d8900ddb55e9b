"""Where few-shot sets come from: packs, folders, other libraries' data sets, fonts, sound, texts, publishers."""
