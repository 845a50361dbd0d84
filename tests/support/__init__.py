"""What several tests share. Truth comes from adam-core and ASSIST, never from the engine under test."""
